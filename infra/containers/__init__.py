"""The platform in containers: its secrets as files, its logins and tables, and whether a process is well."""
