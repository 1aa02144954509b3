"""EC2: its calls, the rules that they keep to, and the records that they change."""
