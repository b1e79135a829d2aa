"""What the generated rows say: subjects, paragraphs, names and places, with awkward characters on purpose."""

from __future__ import annotations

THINGS = (
    "VPN client", "Outlook", "SAP GUI", "shared printer", "laptop dock", "Wi-Fi on floor 3", "payroll portal",
    "badge reader", "Citrix session", "Teams call", "SQL cluster", "build server", "mailbox", "file share",
    "ERP batch", "DNS resolver", "web shop checkout", "backup job", "MFA token", "intranet search",
    "Überwachungskamera", "社内ポータル", "CRM dashboard", "warehouse scanner", "invoice archive", "storage array",
    "load balancer", "conference bridge",
)  # fmt: skip

SYMPTOMS = (
    "is very slow since this morning", "cannot be reached", "asks for the password again and again",
    "shows error 0x80070005", "crashes when opening a file", "is out of disk space", "lost its connection",
    'says "access denied"', "returns HTTP 503", "does not print", "freezes at 99 %", "drops packets",
    "reports a certificate that expired", "runs at 100% CPU", "needs a restart every hour",
    "shows garbled text (Ã¤ instead of ä)", "は起動しません", "stopped after the update 🔥",
    "loses the session after 5 min", "is missing for new starters",
)  # fmt: skip

OPENINGS = (
    "The user called and reports that this began after the maintenance window.",
    "Several colleagues on the same floor are affected; a restart did not help.",
    "It worked yesterday.\nNothing was changed on the client.",
    "Steps:\n1. open the application\n2. choose File > Open\n3. wait about 20 seconds",
    'The message reads: "The operation could not be completed (error = 0x5^2)".',
    "Monitoring raised the alert; no user has complained yet.",
    "ユーザーから電話がありました。再起動しても改善しません。",
    "Der Benutzer meldet, daß der Zugriff seit heute früh verweigert wird.",
    "See also https://intranet.example.com/kb?id=42&view=full#top for the known workaround.",
    "Urgent!!! the month-end run depends on it 🙏",
)

CAUSES = (
    "The service account was locked.", "A firewall rule was missing after the change.", "The disk was full.",
    "The certificate had expired.", "The DHCP scope was exhausted.", "A driver was out of date.",
    "The index of the table was fragmented.", "The cache held a stale entry.", "Two jobs ran at once.",
    "The user was in the wrong group.", "原因はキャッシュの破損でした。", "The cable was unplugged ¯\\_(ツ)_/¯.",
)  # fmt: skip

FIXES = (
    "Unlocked it and told the user.", "Opened the rule; tested from two clients.", "Freed 40 GB and added an alert.",
    "Renewed the certificate, and put the next date in the calendar.", "Extended the scope to a /22.",
    "Updated the driver; please reopen if it comes back.", "Rebuilt the index over night.", "Cleared the cache.",
    "Moved the second job to 03:00.", "Added the user to the group.\nAsked to sign in again.", "交換しました。",
    "User confirmed by phone ✅", 'Set "KeepAlive" to 30, <b>then</b> restarted.', "No action needed.",
)  # fmt: skip

WORK_NOTES = (
    "Called the user, no answer.", "Remote session started.", "Waiting for the vendor's answer (case 77-1203).",
    "Rebooted the host.", "Checked the logs:\n  ERROR pool exhausted\n  WARN retrying", "Handed over to second level.",
    "Reproduced on a test client.", "ログを確認中。", "The user agrees to wait until Monday 🙂", "Looking.",
)  # fmt: skip

COMMENTS = (
    "Hello, we are looking into it.", "Could you please restart the computer and try again?",
    "Thank you, it works again!", "Is there any news?", "Please call me after 2 pm.", "お待たせいたしました。",
)  # fmt: skip

FIRST_NAMES = (
    "Abel", "Beth", "Carol", "David", "Éloïse", "Fred", "Grace", "Hiroshi", "Ines", "Jürgen", "Krystle", "Liam", "Mei",
    "Noah", "Olga", "Priya", "Quentin", "Rosa", "Søren", "Tomás", "Uma", "Vera", "Wen", "Ximena", "Yusuf", "Zoë",
)  # fmt: skip

LAST_NAMES = (
    "Anglin", "Becker", "Castaño", "Dubois", "Eriksson", "Fischer", "García", "Haddad", "Ivanova", "Jansen", "Kowalski",
    "Luddy", "Miller", "Nakamura", "O'Brien", "Petrov", "Quinn", "Ruggeri", "Schmidt", "Tanaka", "Usman", "Varga",
    "Wright", "Xu", "Yılmaz", "Zhang",
)  # fmt: skip

TITLES = (
    "Engineer",
    "Analyst",
    "Manager",
    "Consultant",
    "Director",
    "Clerk",
    "Architect",
    "",
)

CITIES = (
    ("San Diego", "CA", "USA", "US/Pacific", "32.7157", "-117.1611"),
    ("Chicago", "IL", "USA", "US/Central", "41.8781", "-87.6298"),
    ("Berlin", "", "Germany", "Europe/Berlin", "52.5200", "13.4050"),
    ("München", "", "Germany", "Europe/Berlin", "48.1351", "11.5820"),
    ("東京", "", "Japan", "Asia/Tokyo", "35.6762", "139.6503"),
    ("São Paulo", "SP", "Brazil", "America/Sao_Paulo", "-23.5505", "-46.6333"),
    ("Bengaluru", "KA", "India", "Asia/Kolkata", "12.9716", "77.5946"),
    ("Kraków", "", "Poland", "Europe/Warsaw", "50.0647", "19.9450"),
)

COMPANIES = (
    "Acme North America", "Acme Deutschland GmbH", "Acme 日本", "Dell Inc.", "Lenovo", "Cisco Systems", "Oracle", "IBM",
    "Microsoft", "Red Hat", "HP", "Juniper",
)  # fmt: skip

DEPARTMENTS = (
    "IT", "Finance", "HR", "Sales", "Development", "Customer Support", "Legal", "Product Management", "Operations",
)  # fmt: skip

GROUPS = (
    "Service Desk", "Network", "Database", "Hardware", "Software", "CAB Approval", "Change Management",
    "Problem Analyzers", "Application Development", "Capacity Mgmt", "ITSM Engineering", "Linux Operations",
    "Windows Operations", "Security Incident Response", "Field Services", "Storage", "Telephony", "SAP Basis",
)  # fmt: skip

ROLES = ("admin", "itil", "itil_admin", "catalog", "knowledge", "asset", "personalize_dictionary", "snc_internal",
         "snc_platform_rest_api_access", "web_service_admin")  # fmt: skip

CATALOG_ITEMS = (
    "Standard Laptop", "Developer Laptop (Mac)", "Desk Phone", "Adobe Creative Cloud", "Access to a mailbox",
    "New email account", "Virtual machine", "Database, small", "Office move", "Replacement keyboard", "VPN access",
    "Monitor 27\"", "Mobile phone", "New hire package", "Software licence", "Guest Wi-Fi voucher",
)  # fmt: skip

ARTICLES = (
    "How to reset a password", "What to do when Outlook is offline", "Connect to the VPN from home",
    "Where are my files? 📁", "Request access to a shared mailbox", "Print double-sided", "Sprachpaket installieren",
    "パスワードの変更方法", "Set up multi-factor authentication", "Clean up a full mailbox", "Map a network drive",
)  # fmt: skip

ARTICLE_BODY = (
    "<p>This article explains <strong>{title}</strong>.</p>\r\n<h2>Before you start</h2>\r\n<ul><li>Sign in</li>"
    "<li>Have your badge &amp; phone at hand</li></ul>\r\n<h2>Steps</h2>\r\n<ol><li>{symptom}</li><li>{fix}</li></ol>"
    '<p>Still stuck? <a href="https://intranet.example.com/help?a=1&amp;b=2">Ask us</a>.</p>'
    '<table border="1"><tbody><tr><td>Severity</td><td>&lt; 3</td></tr></tbody></table>'
)

RELATION_TYPES = (
    ("Depends on", "Used by"), ("Runs on", "Runs"), ("Hosted on", "Hosts"), ("Contains", "Contained by"),
    ("Connects to", "Connected by"), ("Members", "Member of"), ("Cluster of", "Cluster"), ("Managed by", "Manages"),
)  # fmt: skip
