"""Tables and pages made from results/ and from the paper's printed numbers. No torch."""
