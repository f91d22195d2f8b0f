-- of MLflow's users and permissions, beside its runs
CREATE DATABASE mlflow_users;
