"""Users, organisation, dictionary, journals, attachments and audit, as ``schema`` reads them."""

from __future__ import annotations

CHOICES = {
    "date_format": "yyyy-MM-dd:yyyy-MM-dd;dd/MM/yyyy:dd/MM/yyyy;MM-dd-yyyy:MM-dd-yyyy;dd.MM.yyyy:dd.MM.yyyy",
    "language": "en:English;de:German;ja:Japanese;fr:French",
    "time_zone": "US/Pacific:US/Pacific;US/Eastern:US/Eastern;Europe/Berlin:Europe/Berlin;Asia/Tokyo:Asia/Tokyo;"
    "GMT:GMT",
}

SYSTEM_COLUMNS = """
sys_created_by | string | Created by
sys_created_on | glide_date_time | Created
sys_id | GUID | Sys ID
sys_mod_count | integer | Updates
sys_tags | related_tags | Tags
sys_updated_by | string | Updated by
sys_updated_on | glide_date_time | Updated
"""

# System columns that a table does without.
LEAN = {
    "svc_ci_assoc": (
        *("sys_created_by", "sys_created_on", "sys_mod_count", "sys_tags", "sys_updated_by", "sys_updated_on"),
    )
}

TABLES = """
sys_user | User
active | boolean | Active
building | string | Building
calendar_integration | integer | Calendar integration
city | string | City
company | reference | Company | >core_company
cost_center | reference | Cost center | >cmn_department
country | string | Country code
date_format | string | Date format | =date_format
department | reference | Department | >cmn_department
email | email | Email
employee_number | string | Employee number
first_name | string | First name
gender | string | Gender
home_phone | ph_number | Home phone
internal_integration_user | boolean | Internal Integration User
introduction | string | Prefix
last_login_time | glide_date_time | Last login time
last_name | string | Last name
location | reference | Location | >cmn_location
locked_out | boolean | Locked out
manager | reference | Manager | >sys_user
middle_name | string | Middle name
mobile_phone | ph_number | Mobile phone
name | string | Name | * | #151
notification | integer | Notification
password_needs_reset | boolean | Password needs reset
phone | ph_number | Business phone
photo | user_image | Photo
preferred_language | string | Language | =language
roles | string | Roles
source | string | Source
sys_class_name | sys_class_name | Class
sys_domain | reference | Domain | >sys_user_group
time_format | string | Time format
time_zone | string | Time zone | =time_zone
title | string | Title
user_name | string | User ID
user_password | password | Password
vip | boolean | VIP
web_service_access_only | boolean | Web service access only

sys_user_group | Group
active | boolean | Active
cost_center | reference | Cost center | >cmn_department
default_assignee | reference | Default assignee | >sys_user
description | string | Description | #1000
email | email | Group email
exclude_manager | boolean | Exclude manager
include_members | boolean | Include members
manager | reference | Manager | >sys_user
name | string | Name | * | #80
parent | reference | Parent | >sys_user_group
roles | string | Roles
source | string | Source
type | glide_list | Type

sys_user_grmember | Group Member
group | reference | Group | >sys_user_group
user | reference | User | >sys_user

sys_user_role | Role
name | string | Name | *
description | string | Description | #4000
suffix | string | Suffix
elevated_privilege | boolean | Elevated privilege

sys_user_has_role | User Role
user | reference | User | >sys_user
role | reference | Role | >sys_user_role
inherited | boolean | Inherited
state | string | State

core_company | Company
name | string | Name | *
city | string | City
country | string | Country
customer | boolean | Customer
manufacturer | boolean | Manufacturer
phone | ph_number | Phone
primary | boolean | Primary
stock_symbol | string | Stock symbol
street | string | Street
sys_class_name | sys_class_name | Class
sys_domain | reference | Domain | >sys_user_group
vendor | boolean | Vendor
website | url | Website

cmn_location | Location
name | string | Name | *
city | string | City
company | reference | Company | >core_company
country | string | Country
full_name | string | Full name | #255
latitude | float | Latitude
longitude | float | Longitude
parent | reference | Parent | >cmn_location
state | string | State / Province
street | string | Street | #255
sys_domain | reference | Domain | >sys_user_group
time_zone | string | Time zone
zip | string | Zip / Postal Code

cmn_department | Department
name | string | Name | *
company | reference | Company | >core_company
dept_head | reference | Department head | >sys_user
description | string | Description | #1000
id | string | ID
parent | reference | Parent | >cmn_department
sys_domain | reference | Domain | >sys_user_group

sys_journal_field | Journal Entry
element | string | Element
element_id | string | Element ID
name | table_name | Name
value | string | Value | #4000

sys_attachment | Attachment
average_image_color | string | Average image color
chunk_size_bytes | integer | Chunk size bytes
compressed | boolean | Compressed
content_type | string | Content type
encryption_context | string | Encryption context
file_name | string | File name | * | #100
hash | string | SHA256 Hash | #64
image_height | integer | Image height
image_width | integer | Image width
size_bytes | integer | Size bytes
size_compressed | integer | Size compressed
state | string | State
table_name | table_name | Table name
table_sys_id | char | Table sys ID | #32

syslog | Log
level | integer | Level
message | string | Message | #4000 | *
sequence | string | Sequence
source | string | Source
source_package | reference | App | >sys_package
type | string | Type

svc_ci_assoc | Service Configuration Item Association
ci_id | reference | Configuration item | >cmdb_ci
service_id | reference | Service | >cmdb_ci_service

sys_audit | Audit
documentkey | char | Document key | #32
fieldname | field_name | Field name
internal_checkpoint | string | Internal checkpoint
newvalue | string | New value | #4000
oldvalue | string | Old value | #4000
reason | string | Reason
record_checkpoint | integer | Update count
tablename | table_name | Table name
user | string | User

sys_audit_delete | Delete
display_value | string | Display value
documentkey | char | Document key | #32
payload | string | Payload | #65000
tablename | table_name | Table name
user | string | User

sys_metadata | Application File
sys_class_name | sys_class_name | Class
sys_name | string | Display name
sys_package | reference | Package | >sys_package
sys_policy | string | Protection policy
sys_scope | reference | Application | >sys_scope
sys_update_name | string | Update name

sys_dictionary < sys_metadata | Dictionary Entry
active | boolean | Active
array | boolean | Array
attributes | string | Attributes | #1000
audit | boolean | Audit
choice | integer | Choice
column_label | string | Column label | *
default_value | string | Default value
display | boolean | Display
element | string | Column name
internal_type | reference | Type | >sys_glide_object.name
mandatory | boolean | Mandatory
max_length | integer | Max length
name | table_name | Table
primary | boolean | Primary
read_only | boolean | Read only
reference | reference | Reference | >sys_db_object.name
reference_key | string | Reference key
unique | boolean | Unique
virtual | boolean | Calculated

sys_dictionary_override < sys_metadata | Dictionary Entry Override
base_table | table_name | Base table
default_value | string | Default value
default_value_override | boolean | Override default value
element | string | Column name
mandatory | boolean | Mandatory
mandatory_override | boolean | Override mandatory
name | table_name | Table
read_only | boolean | Read only
read_only_override | boolean | Override read only

sys_db_object < sys_metadata | Table
is_extendable | boolean | Extensible
label | string | Label | *
name | string | Name
number_ref | string | Auto number
read_access | boolean | Can read
super_class | reference | Extends table | >sys_db_object
ws_access | boolean | Allow access to this table via web services

sys_glide_object < sys_metadata | Field Class
class_name | string | Class name
label | string | Label | *
name | string | Name
scalar_length | integer | Length
scalar_type | string | Extends
visible | boolean | Visible

sys_documentation < sys_metadata | Field Label
element | string | Element
help | string | Help
hint | string | Hint
label | string | Label | *
language | string | Language
name | table_name | Table
plural | string | Plural

sys_choice < sys_metadata | Choice
dependent_value | string | Dependent value
element | string | Element
inactive | boolean | Inactive
label | string | Label | *
language | string | Language
name | table_name | Table
sequence | integer | Sequence
value | string | Value

sys_properties < sys_metadata | System Property
description | string | Description | #1000
name | string | Name | *
type | string | Type
value | string | Value | #4000

sys_scope | Application
name | string | Name | *
scope | string | Scope
active | boolean | Active

sys_package | Package
name | string | Name | *
source | string | ID
active | boolean | Active
"""
