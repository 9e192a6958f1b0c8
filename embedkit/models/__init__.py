"""The networks: `table` lists them, `build` makes them, `module` adds the front-end."""
