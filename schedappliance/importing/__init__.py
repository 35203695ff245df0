"""Stanzas from crontabs, systemd timers and at jobs, for `import`.

Rule: a comment names each difference between a stanza and its original. Nothing is guessed in silence.
"""
