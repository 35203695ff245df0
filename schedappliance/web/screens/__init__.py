"""The screens, one file for each, what all of them share (`site`, `look`), their streams, and the actions of viewers."""
