"""`python -m xportal`."""

from xportal.cli import main

main()
