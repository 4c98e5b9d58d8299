//! The small, strongly consistent store beside the log (contract and implementation follow).
