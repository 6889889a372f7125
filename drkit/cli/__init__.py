"""The command line: options in, words and an exit status out. The work is in drkit.operations.

To add a command: a function whose first parameter is a `Session`, under `@command(app)`, in the
module of its group; what it needs is imported inside it. To add a group: a module with an `app` in
the folder of what it is about (repository, runs, watch, deployment), and its name in
`drkit.cli.main`. Shared options and the error boundary come with `@command`.
"""
