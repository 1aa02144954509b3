"""xportal: cheap GPU machines that never lose your work."""
