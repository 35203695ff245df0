"""Stanzas from crontabs, systemd timers and at jobs, for `import`.

Rule: what the stanzas do otherwise than the original is said in a comment beside them; nothing is guessed in silence.
"""
