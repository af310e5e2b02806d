"""What has been made so far: list, show and remove runs, and copy one to MLflow."""
