"""The service for single cases: an API, a page, and one worker that predicts."""
