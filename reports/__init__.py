"""From a plan and the records of its runs to a page one can publish. Never loads torch."""
