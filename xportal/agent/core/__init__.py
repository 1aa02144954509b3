"""What the launch's user data carry, and a machine does alone: open the drive, bring containers back, save."""
