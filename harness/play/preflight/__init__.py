"""What is looked at before anything starts: settings, addresses, keys."""
