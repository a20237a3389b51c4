"""Faults planted in the losses to see the tests go red: what they are, and the command that plants them."""
