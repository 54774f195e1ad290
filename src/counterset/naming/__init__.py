"""What is said of groups' names, by labels that were made without seeing them."""
