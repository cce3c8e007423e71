"""What is to be done with a statement: rules, decision, plan. Pure."""
