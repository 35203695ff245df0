"""What the page writes: templates, addresses, instants, and the text of others as HTML."""
