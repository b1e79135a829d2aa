"""The task family, the service catalogue and knowledge, as ``schema`` reads them."""

from __future__ import annotations

CHOICES = {
    "approval": "not requested:Not Yet Requested;requested:Requested;approved:Approved;rejected:Rejected",
    "escalation": "0:Normal;1:Moderate;2:High;3:Overdue",
    "impact": "1:1 - High;2:2 - Medium;3:3 - Low",
    "urgency": "1:1 - High;2:2 - Medium;3:3 - Low",
    "priority": "1:1 - Critical;2:2 - High;3:3 - Moderate;4:4 - Low;5:5 - Planning",
    "contact_type": "phone:Phone;email:Email;self-service:Self-service;chat:Chat;virtual_agent:Virtual Agent;"
    "walk-in:Walk-in;monitoring:Monitoring;integration:Integration",
    "task_state": "-5:Pending;1:Open;2:Work in Progress;3:Closed Complete;4:Closed Incomplete;7:Closed Skipped",
    "incident_state": "1:New;2:In Progress;3:On Hold;4:Awaiting User Info;5:Awaiting Evidence;6:Resolved;7:Closed;"
    "8:Canceled",
    "hold_reason": "1:Awaiting Caller;3:Awaiting Change;4:Awaiting Problem;5:Awaiting Vendor",
    "severity": "1:1 - High;2:2 - Medium;3:3 - Low",
    "notify": "1:Do Not Notify;2:Send Email;3:Telephone",
    "category": "inquiry:Inquiry / Help;software:Software;hardware:Hardware;network:Network;database:Database;"
    "password_reset:Password Reset",
    "subcategory": "antivirus:Antivirus;internal application:Internal Application;email:Email;os:Operating System;"
    "cpu:CPU;disk:Disk;keyboard:Keyboard;memory:Memory;monitor:Monitor;mouse:Mouse;dhcp:DHCP;dns:DNS;"
    "ip address:IP Address;vpn:VPN;wireless:Wireless;db2:DB2;oracle:Oracle;sql server:MS SQL Server",
    "close_code": "Solution provided:Solution provided;Workaround provided:Workaround provided;"
    "Resolved by caller:Resolved by caller;Resolved by change:Resolved by change;"
    "Resolved by problem:Resolved by problem;Duplicate:Duplicate;No resolution provided:No resolution provided;"
    "User error:User error;Known error:Known error",
    "problem_state": "101:New;102:Assess;103:Root Cause Analysis;104:Fix in Progress;106:Resolved;107:Closed",
    "problem_code": "fix_applied:Fix Applied;risk_accepted:Risk Accepted;duplicate:Duplicate;canceled:Canceled",
    "change_state": "-5:New;-4:Assess;-3:Authorize;-2:Scheduled;-1:Implement;0:Review;3:Closed;4:Canceled",
    "change_type": "standard:Standard;normal:Normal;emergency:Emergency",
    "change_phase": "requested:Requested;plan:Plan;build:Build;test:Test;deploy:Deploy",
    "change_category": "Hardware:Hardware;Software:Software;Service:Service;Network:Network;Other:Other",
    "risk": "2:High;3:Moderate;4:Low",
    "close_change": "successful:Successful;successful_issues:Successful with issues;unsuccessful:Unsuccessful",
    "workflow_state": "draft:Draft;review:Review;published:Published;pending_retirement:Pending retirement;"
    "retired:Retired",
    "article_type": "text:HTML;wiki:Wiki",
}

CHOICE_OVERRIDES = {
    "incident": {"state": "incident_state"},
    "problem": {"state": "problem_state"},
    "change_request": {"state": "change_state"},
}

TABLES = """
task | Task
number | string | Number | *
active | boolean | Active
activity_due | glide_date_time | Activity due
additional_assignee_list | glide_list | Additional assignee list | >sys_user
approval | string | Approval | =approval
approval_history | journal | Approval history
approval_set | glide_date_time | Approval set
assigned_to | reference | Assigned to | >sys_user
assignment_group | reference | Assignment group | >sys_user_group
business_duration | glide_duration | Business duration
business_service | reference | Service | >cmdb_ci_service
calendar_duration | glide_duration | Duration
closed_at | glide_date_time | Closed
closed_by | reference | Closed by | >sys_user
close_notes | string | Close notes | #4000
cmdb_ci | reference | Configuration item | >cmdb_ci
comments | journal_input | Additional comments
comments_and_work_notes | journal_list | Comments and Work notes
company | reference | Company | >core_company
contact_type | string | Contact type | =contact_type
contract | reference | Contract | >ast_contract
correlation_display | string | Correlation display | #100
correlation_id | string | Correlation ID | #100
delivery_plan | reference | Delivery plan | >sc_cat_item
delivery_task | reference | Delivery task | >sc_cat_item
description | string | Description | #4000
due_date | glide_date_time | Due date
escalation | integer | Escalation | =escalation
expected_start | glide_date_time | Expected start
follow_up | glide_date_time | Follow up
group_list | glide_list | Group list | >sys_user_group
impact | integer | Impact | =impact
knowledge | boolean | Knowledge
location | reference | Location | >cmn_location
made_sla | boolean | Made SLA
opened_at | glide_date_time | Opened
opened_by | reference | Opened by | >sys_user
order | integer | Order
parent | reference | Parent | >task
priority | integer | Priority | =priority
reassignment_count | integer | Reassignment count
rejection_goto | reference | Rejection goto | >task
route_reason | integer | Transfer reason
service_offering | reference | Service offering | >cmdb_ci_service
short_description | string | Short description | #160
skills | glide_list | Skills | >sys_user_group
sla_due | glide_date_time | SLA due
state | integer | State | =task_state
sys_class_name | sys_class_name | Task type
sys_domain | reference | Domain | >sys_user_group
sys_domain_path | domain_path | Domain Path
task_effective_number | string | Effective number
time_worked | timer | Time worked
universal_request | reference | Universal Request | >task
upon_approval | string | Upon approval
upon_reject | string | Upon reject
urgency | integer | Urgency | =urgency
user_input | user_input | User input | #4000
variables | variables | Variables
watch_list | glide_list | Watch list | >sys_user
wf_activity | string | Workflow activity
work_end | glide_date_time | Actual end
work_notes | journal_input | Work notes
work_notes_list | glide_list | Work notes list | >sys_user
work_start | glide_date_time | Actual start

incident < task | Incident
business_impact | string | Business impact | #4000
business_stc | integer | Business resolve time
calendar_stc | integer | Resolve time
caller_id | reference | Caller | >sys_user
category | string | Category | =category
caused_by | reference | Caused by Change | >change_request
cause | string | Probable cause | #4000
child_incidents | integer | Child Incidents
close_code | string | Resolution code | =close_code
hold_reason | integer | On hold reason | =hold_reason
incident_state | integer | Incident state | =incident_state
notify | integer | Notify | =notify
origin_id | document_id | Origin
origin_table | table_name | Origin table
parent_incident | reference | Parent Incident | >incident
problem_id | reference | Problem | >problem
reopen_count | integer | Reopen count
reopened_by | reference | Last reopened by | >sys_user
reopened_time | glide_date_time | Last reopened at
resolved_at | glide_date_time | Resolved
resolved_by | reference | Resolved by | >sys_user
rfc | reference | Change Request | >change_request
severity | integer | Severity | =severity
subcategory | string | Subcategory | =subcategory
u_priority_confirmation | boolean | Priority confirmation
u_symptom | string | Symptom
vendor | reference | Vendor | >core_company

incident_task < task | Incident Task
incident | reference | Incident | >incident

problem < task | Problem
category | string | Category | =category
cause_notes | html | Cause notes
fix_notes | html | Fix notes
confirmed_at | glide_date_time | Confirmed
confirmed_by | reference | Confirmed by | >sys_user
first_reported_by_task | reference | First reported by | >task
fix_at | glide_date_time | Fix at
fix_by | reference | Fix by | >sys_user
known_error | boolean | Known error
major_problem | boolean | Major problem
problem_state | integer | Problem state | =problem_state
related_incidents | integer | Related Incidents
reopen_count | integer | Reopen count
resolution_code | string | Resolution code | =problem_code
resolved_at | glide_date_time | Resolved
resolved_by | reference | Resolved by | >sys_user
review_outcome | string | Review outcome
rfc | reference | Change request | >change_request
subcategory | string | Subcategory | =subcategory
workaround | html | Workaround
workaround_applied | boolean | Workaround applied

change_request < task | Change Request
backout_plan | string | Backout plan | #4000
cab_date | glide_date | CAB date
cab_delegate | reference | CAB delegate | >sys_user
cab_recommendation | string | CAB recommendation | #4000
cab_required | boolean | CAB required
category | string | Category | =change_category
change_plan | string | Change plan | #4000
chg_model | reference | Model | >sc_cat_item
close_code | string | Close code | =close_change
conflict_last_run | glide_date_time | Conflict last run
conflict_status | string | Conflict status
end_date | glide_date_time | Planned end date
implementation_plan | string | Implementation plan | #4000
justification | string | Justification | #4000
on_hold | boolean | On hold
on_hold_reason | string | On hold reason | #4000
outside_maintenance_schedule | boolean | Unauthorized
phase | string | Phase | =change_phase
phase_state | string | Phase state
production_system | boolean | Production system
reason | string | Reason
requested_by | reference | Requested by | >sys_user
requested_by_date | glide_date_time | Requested by date
review_comments | string | Review comments | #4000
review_date | glide_date | Review date
review_status | string | Review status
risk | integer | Risk | =risk
risk_impact_analysis | string | Risk and impact analysis | #4000
scope | string | Scope
start_date | glide_date_time | Planned start date
std_change_producer_version | reference | Standard Change Template version | >sc_cat_item
test_plan | string | Test plan | #4000
type | string | Type | =change_type
unauthorized | boolean | Unauthorized

change_task < task | Change Task
change_request | reference | Change request | >change_request
change_task_type | string | Type
close_code | string | Close code | =close_change
created_from | string | Created from
on_hold | boolean | On hold
planned_end_date | glide_date_time | Planned end date
planned_start_date | glide_date_time | Planned start date

sc_cat_item | Catalog Item
name | string | Name | * | #100
short_description | string | Short description | #200
description | html | Description
category | reference | Category | >sc_category
sc_catalogs | glide_list | Catalogs | >sc_catalog
active | boolean | Active
availability | string | Availability
billable | boolean | Billable
cost | currency | Cost
delivery_time | glide_duration | Delivery time
group | reference | Fulfillment group | >sys_user_group
meta | string | Meta | #4000
model | reference | Model | >cmdb_ci
order | integer | Order
owner | reference | Owner | >sys_user
price | price | Price
recurring_price | price | Recurring price
roles | string | Roles
sys_class_name | sys_class_name | Class
sys_name | string | Display name
type | string | Type
vendor | reference | Vendor | >core_company

sc_category | Category
title | string | Title | *
description | html | Description
active | boolean | Active
parent | reference | Parent | >sc_category
sc_catalog | reference | Catalog | >sc_catalog
sys_class_name | sys_class_name | Class

sc_catalog | Catalog
title | string | Title | *
active | boolean | Active
description | string | Description | #1000

kb_knowledge_base | Knowledge Base
title | string | Title | *
active | boolean | Active
description | string | Description | #1000
owner | reference | Owner | >sys_user

kb_category | Knowledge Category
label | string | Label | *
value | string | Value
active | boolean | Active
parent_id | reference | Parent ID | >kb_knowledge_base

kb_knowledge | Knowledge
number | string | Number | *
short_description | string | Short description | #200
text | html | Article body
active | boolean | Active
article_type | string | Article type | =article_type
author | reference | Author | >sys_user
can_read_user_criteria | glide_list | Can Read | >sys_user_group
category | string | Category(old)
cmdb_ci | reference | Configuration item | >cmdb_ci
description | string | Description | #4000
direct | boolean | Direct
disable_commenting | boolean | Disable commenting
flagged | boolean | Flagged
kb_category | reference | Category | >kb_category
kb_knowledge_base | reference | Knowledge base | >kb_knowledge_base
latest | boolean | Latest
meta | string | Meta | #4000
published | glide_date | Published
rating | decimal | Rating
retired | glide_date | Retired
roles | string | Roles
source | reference | Source Task | >task
sys_class_name | sys_class_name | Class name
sys_domain | reference | Domain | >sys_user_group
sys_view_count | integer | View count
use_count | integer | Number of uses
valid_to | glide_date | Valid to
workflow_state | string | Workflow | =workflow_state
"""
