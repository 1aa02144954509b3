"""What EC2 keeps of each thing, without the rules: these classes import each other in one direction."""
