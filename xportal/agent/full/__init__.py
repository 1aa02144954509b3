"""What the first login brings: commits, snapshots, rehearsals, and what somebody who is logged in asks for."""
