"""What a report says: sentences, limitations, subgroups and the audit."""
