"""The configuration items and what relates them, as ``schema`` reads them."""

from __future__ import annotations

CHOICES = {
    "operational_status": "1:Operational;2:Non-Operational;3:Repair in Progress;4:DR Standby;5:Ready;6:Retired",
    "install_status": "1:Installed;2:On Order;3:In Maintenance;6:In Stock;7:Retired;8:Stolen;100:Absent",
    "environment": "Production:Production;Test:Test;Development:Development;Disaster recovery:Disaster recovery",
    "busines_criticality": "1 - most critical:1 - most critical;2 - somewhat critical:2 - somewhat critical;"
    "3 - less critical:3 - less critical;4 - not critical:4 - not critical",
    "hardware_status": "installed:Installed;in_stock:In Stock;retired:Retired;in_maintenance:In Maintenance",
    "chassis": "Desktop:Desktop;Laptop:Laptop;Rack Mount Chassis:Rack Mount Chassis;Blade:Blade",
}

TABLES = """
cmdb | Base Configuration Item
asset | reference | Asset | >alm_asset
asset_tag | string | Asset tag
assigned | glide_date_time | Assigned
assigned_to | reference | Assigned to | >sys_user
assignment_group | reference | Change Group | >sys_user_group
checked_in | glide_date_time | Checked in
checked_out | glide_date_time | Checked out
company | reference | Company | >core_company
cost | float | Cost
cost_cc | string | Cost currency
cost_center | reference | Cost center | >cmn_department
delivery_date | glide_date_time | Order received
department | reference | Department | >cmn_department
due | glide_date_time | Due in
due_in | string | Due in
duplicate_of | reference | Duplicate Of | >cmdb_ci
gl_account | string | GL account
install_date | glide_date_time | Installed
install_status | integer | Status | =install_status
invoice_number | string | Invoice number
justification | string | Justification
lease_id | string | Lease contract
location | reference | Location | >cmn_location
managed_by | reference | Managed by | >sys_user
manufacturer | reference | Manufacturer | >core_company
model_id | reference | Model ID | >cmdb_model
name | string | Name | * | #255
order_date | glide_date_time | Ordered
owned_by | reference | Owned by | >sys_user
po_number | string | PO number
purchase_date | glide_date | Purchased
serial_number | string | Serial number | #255
skip_sync | boolean | Skip sync
start_date | glide_date_time | Schedule
support_group | reference | Support group | >sys_user_group
supported_by | reference | Supported by | >sys_user
sys_class_name | sys_class_name | Class
sys_class_path | sys_class_path | Sys class path
sys_domain | reference | Domain | >sys_user_group
sys_domain_path | domain_path | Domain Path
unverified | boolean | Requires verification
vendor | reference | Vendor | >core_company
warranty_expiration | glide_date | Warranty expiration

cmdb_ci < cmdb | Configuration Item
attestation_status | string | Attestation Status
attributes | string | Attributes | #65000
can_print | boolean | Can Print
category | string | Category
change_control | reference | Approval group | >sys_user_group
comments | string | Comments | #4000
correlation_id | string | Correlation ID
discovery_source | string | Discovery source
dns_domain | string | DNS Domain
environment | string | Environment | =environment
fault_count | integer | Fault count
first_discovered | glide_date_time | First discovered
fqdn | string | Fully qualified domain name | #255
ip_address | ip_addr | IP Address
last_discovered | glide_date_time | Most recent discovery
mac_address | string | MAC Address
maintenance_schedule | string | Maintenance schedule
managed_by_group | reference | Managed By Group | >sys_user_group
model_number | string | Model number
monitor | boolean | Monitor
operational_status | integer | Operational status | =operational_status
schedule | string | Schedule
short_description | string | Description | #1000
subcategory | string | Subcategory

cmdb_ci_hardware < cmdb_ci | Hardware
chassis_type | string | Chassis type | =chassis
default_gateway | string | Default gateway
hardware_status | string | Hardware status | =hardware_status
hardware_substatus | string | Hardware substatus
user_location | string | User location

cmdb_ci_computer < cmdb_ci_hardware | Computer
cd_rom | boolean | CD-ROM
cpu_core_count | integer | CPU core count
cpu_count | integer | CPU count
cpu_manufacturer | reference | CPU manufacturer | >core_company
cpu_name | string | CPU name
cpu_speed | float | CPU speed (MHz)
cpu_type | string | CPU type
disk_space | float | Disk space (GB)
form_factor | string | Form factor
object_id | string | Object ID
os | string | Operating System
os_address_width | integer | OS Address Width (bits)
os_domain | string | OS Domain
os_service_pack | string | OS Service Pack
os_version | string | OS Version
ram | integer | RAM (MB)
virtual | boolean | Is Virtual

cmdb_ci_server < cmdb_ci_computer | Server
backup_date | glide_date | Backup date
classification | string | Classification
db_server | boolean | Database server
dr_backup | reference | DR backup | >cmdb_ci
firewall_status | string | Firewall status
host_name | string | Host name
used_for | string | Used for | =environment

cmdb_ci_linux_server < cmdb_ci_server | Linux Server
kernel_release | string | Kernel release

cmdb_ci_win_server < cmdb_ci_server | Windows Server
cluster_id | string | Cluster ID

cmdb_ci_netgear < cmdb_ci_hardware | Network Gear
device_type | string | Device type
firmware_version | string | Firmware version
ports | integer | Ports

cmdb_ci_appl < cmdb_ci | Application
install_directory | string | Install directory | #255
running_process | reference | Running process | >cmdb_ci
version | string | Version

cmdb_ci_database < cmdb_ci_appl | Database
instance_name | string | Instance name

cmdb_ci_db_instance < cmdb_ci_database | Database Instance
tcp_port | integer | TCP port(s)

cmdb_ci_db_mysql_instance < cmdb_ci_db_instance | MySQL Instance
edition | string | Edition

cmdb_ci_db_mssql_instance < cmdb_ci_db_instance | MSFT SQL Instance
edition | string | Edition

cmdb_ci_db_ora_instance < cmdb_ci_db_instance | Oracle Instance
sid | string | SID

cmdb_ci_service < cmdb_ci | Service
aliases | string | Aliases
busines_criticality | string | Business criticality | =busines_criticality
price_model | string | Price model
service_classification | string | Service classification
sla | string | SLA
version | string | Version

cmdb_ci_service_auto < cmdb_ci_service | Mapped Application Service
service_status | string | Service status

cmdb_model | Product Model
name | string | Name
display_name | string | Display name | *
manufacturer | reference | Manufacturer | >core_company
model_number | string | Model number
status | string | Status
sys_class_name | sys_class_name | Class

cmdb_rel_ci | CI Relationship
parent | reference | Parent | >cmdb_ci
child | reference | Child | >cmdb_ci
type | reference | Type | >cmdb_rel_type
connection_strength | string | Connection strength
percent_outage | integer | Percent outage
port | integer | Port

cmdb_rel_type | CI Relationship Type
name | string | Name | *
parent_descriptor | string | Parent descriptor
child_descriptor | string | Child descriptor
sys_name | string | Display name

alm_asset | Asset
display_name | string | Display name | *
asset_tag | string | Asset tag
assigned_to | reference | Assigned to | >sys_user
ci | reference | Configuration Item | >cmdb_ci
cost | currency | Cost
install_status | integer | State | =install_status
model | reference | Model | >cmdb_model
serial_number | string | Serial number
sys_class_name | sys_class_name | Class

ast_contract | Contract
number | string | Number
short_description | string | Short description | * | #160
vendor | reference | Vendor | >core_company
starts | glide_date | Starts
ends | glide_date | Ends
sys_class_name | sys_class_name | Class
"""
