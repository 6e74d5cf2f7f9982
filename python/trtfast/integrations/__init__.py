"""trtfast in what others serve with; each module needs an extra of its own name."""
