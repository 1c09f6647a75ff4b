"""What keeps a store healthy while somebody uses it."""
