"""The deployment: schedules.yaml as frozen, validated values. Imports no SDK."""
