"""BERT-family encoders without padding: sequences one after the other in one matrix."""
