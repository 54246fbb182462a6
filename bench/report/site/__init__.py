"""The pages of the report: an overview, a page an exhibit, the audit, a page a run. They open from disk."""
