"""Where records go: a table of DuckDB, of PostgreSQL, or of a ServiceNow instance."""
