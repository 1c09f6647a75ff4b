"""What moves executions between stores and files."""
