"""An MLflow server for a department: its folder, its PostgreSQL, starting it, backup and restore."""
