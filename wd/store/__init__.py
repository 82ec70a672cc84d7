"""What lies in an object store, and this node's copies of it."""
