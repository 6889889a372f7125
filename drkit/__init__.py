"""drkit: disaster recovery and backup for self-hosted LLM stacks."""

__version__ = "0.1.0"
