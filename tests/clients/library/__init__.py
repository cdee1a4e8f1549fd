"""The scenarios of the client libraries, by what they are about; ../scenarios.py has the table."""
