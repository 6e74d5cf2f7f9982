"""The commands and their options: what they take, and no more, for the program to start at once."""
