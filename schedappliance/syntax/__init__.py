"""Text to trees. Knows the shape of the languages, none of their words; the only place that imports lark and yaml."""
