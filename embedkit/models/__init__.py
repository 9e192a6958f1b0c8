"""The networks: `table` names them, `build` makes them, `module` is one with its front-end."""
