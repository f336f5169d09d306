"""The headline of a report: the first question, and the answer in words at the top of the page."""
