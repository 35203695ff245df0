"""The appliance as the page sees it: questions of viewers (`gateway`), and what happens (`feed`, `columns`)."""
