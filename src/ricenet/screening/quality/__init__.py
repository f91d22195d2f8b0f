"""Quality control: what was measured on each subject, pages to look at it, and who is marked."""
