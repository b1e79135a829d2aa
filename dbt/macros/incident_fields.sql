{# Fields of `incident` that the models read, with their types. Add yours here; the pull must land them. #}
{% macro incident_fields() %}
  {{ return({
    'sys_id': 'string',
    'number': 'string',
    'short_description': 'string',
    'description': 'string',
    'state': 'integer',
    'active': 'boolean',
    'priority': 'integer',
    'urgency': 'integer',
    'impact': 'integer',
    'category': 'string',
    'subcategory': 'string',
    'contact_type': 'string',
    'assignment_group': 'string',
    'assigned_to': 'string',
    'caller_id': 'string',
    'company': 'string',
    'location': 'string',
    'cmdb_ci': 'string',
    'business_service': 'string',
    'problem_id': 'string',
    'parent_incident': 'string',
    'opened_at': 'datetime',
    'resolved_at': 'datetime',
    'closed_at': 'datetime',
    'close_code': 'string',
    'close_notes': 'string',
    'reassignment_count': 'integer',
    'reopen_count': 'integer',
    'made_sla': 'boolean',
    'business_duration': 'duration',
    'calendar_duration': 'duration',
    'sys_created_on': 'datetime',
    'sys_updated_on': 'datetime',
  }) }}
{% endmacro %}


{# Choices and references: `<field>` is the stored value or the sys_id, `<field>_display` what people see. #}
{% macro incident_displayed() %}
  {{ return([
    'state', 'priority', 'urgency', 'impact', 'category', 'subcategory', 'contact_type', 'assignment_group',
    'assigned_to', 'caller_id', 'company', 'location', 'cmdb_ci', 'business_service', 'problem_id', 'parent_incident',
    'close_code',
  ]) }}
{% endmacro %}
