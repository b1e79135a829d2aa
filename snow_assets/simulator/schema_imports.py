"""Import sets, their staging tables and transform maps, as ``schema`` reads them."""

from __future__ import annotations

CHOICES = {
    "import_set_state": "loading:Loading;loaded:Loaded;processed:Processed;cancelled:Cancelled",
    "import_set_mode": "synchronous:Synchronous;asynchronous:Asynchronous",
    "import_run_state": "running:Running;complete:Complete;complete_with_errors:Complete with errors;"
    "cancelled:Cancelled",
    "import_row_state": "pending:Pending;inserted:Inserted;updated:Updated;ignored:Ignored;skipped:Skipped;error:Error",
    "import_row_error": "100:Reference rejected;200:Choice rejected;300:List reference;800:Invalid target;"
    "900:Script error",
    "enforce_mandatory": "no:No;only_mapped:Only mapped fields;all:All fields",
    "choice_action": "create:create;ignore:ignore;reject:reject",
    "insert_multiple_keys": "labels:Column labels;names:Column names",
}

TABLES = """
sys_multi_import_set | Multi Import Set
number | string | Number | *
short_description | string | Short description | #160

sys_import_set | Import Set
number | string | Number | *
concurrent_import_set | string | Concurrent Import Set | #32
creation_source | string | Creation Source
data_source | string | Data source | #32
load_completed | glide_date_time | Load completed
load_run_time | glide_duration | Load run time
max_row_id | integer | Max row ID
mode | string | Mode | =import_set_mode
multi_import_set | reference | Multi Import Set | >sys_multi_import_set
schedule_import | string | Scheduled Import | #32
short_description | string | Short description | #160
state | string | State | =import_set_state
sys_domain | reference | Domain | >sys_user_group
table_name | table_name | Table
transaction_id | string | Transaction ID

sys_import_set_run | Transform History
number | string | Number | *
completed | glide_date_time | Completed
concurrent_import_set | string | Concurrent Import Set | #32
errors | integer | Errors
ignored | integer | Ignored
inserts | integer | Inserts
multi_import_set | reference | Multi Import Set | >sys_multi_import_set
processed | integer | Processed
run_time | glide_duration | Run time
set | reference | Set | >sys_import_set
skipped | integer | Skipped
state | string | State | =import_run_state
sys_robust_transformer | string | Robust transformer | #32
sys_transform_map | reference | Transform map | >sys_transform_map
total | integer | Total
updates | integer | Updates

sys_import_set_row_error | Import Set Row Error
code | integer | Error code | =import_row_error
import_set | reference | Import set | >sys_import_set
import_set_run | reference | Import set run | >sys_import_set_run
message | string | Message | #4000 | *
row | string | Import set row | #32
source_field | string | Source field
target_field | string | Target field

sys_transform_map | Table Transform Map
name | string | Name | *
active | boolean | Active
copy_empty_fields | boolean | Copy empty fields
create_new_record_on_empty_coalesce | boolean | Create new record on empty coalesce fields
enforce_mandatory_fields | string | Enforce mandatory fields | =enforce_mandatory
order | integer | Order
run_business_rules | boolean | Run business rules
source_table | table_name | Source table
target_table | table_name | Target table

sys_transform_entry | Field Map
choice_action | string | Choice action | =choice_action
coalesce | boolean | Coalesce
coalesce_case_sensitive | boolean | Case sensitive coalesce
coalesce_empty_fields | boolean | Coalesce empty fields
map | reference | Map | >sys_transform_map
reference_value_field | string | Referenced value field name
source_field | string | Source field
source_table | table_name | Source table
target_field | string | Target field
target_table | table_name | Target table

sys_rest_insert_multiple | REST Insert Multiple
asynchronous | boolean | Transform asynchronously
column_keys | string | Keys of a record | =insert_multiple_keys
source_table | table_name | Source table | *

sys_import_set_row | Import Set Row
import_set_run | reference | Import Set Run | >sys_import_set_run
sys_class_name | sys_class_name | Class
sys_domain | reference | Domain | >sys_user_group
sys_import_row | integer | Import set row number
sys_import_set | reference | Set | >sys_import_set
sys_import_state | string | State | =import_row_state
sys_import_state_comment | string | Comment | #4000
sys_row_error | reference | Row error | >sys_import_set_row_error
sys_target_sys_id | document_id | Target record | #32
sys_target_table | table_name | Target table
sys_transform_map | reference | Transform map | >sys_transform_map

imp_location < sys_import_set_row | Location import
name | string | Name | #100
city | string | City
country | string | Country
latitude | string | Latitude
longitude | string | Longitude
parent | string | Parent
state | string | State
street | string | Street | #255
time_zone | string | Time zone
zip | string | Zip

imp_user < sys_import_set_row | User import
user_id | string | User ID
active | string | Active
department | string | Department
email | string | Email | #100
employee_number | string | Employee number
first_name | string | First name
last_name | string | Last name
location | string | Location | #100
phone | string | Phone
title | string | Title | #100

imp_incident < sys_import_set_row | Incident import
assignment_group | string | Assignment group | #80
caller_id | string | Caller
category | string | Category
cmdb_ci | string | Configuration item | #255
correlation_id | string | Correlation ID | #100
description | string | Description | #4000
impact | string | Impact
location | string | Location | #100
number | string | Number
short_description | string | Short description | #160
state | string | State
urgency | string | Urgency
"""
