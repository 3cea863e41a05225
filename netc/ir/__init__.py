"""The values the compiler carries: types, operations, graph, plan, program, and their verifiers."""
