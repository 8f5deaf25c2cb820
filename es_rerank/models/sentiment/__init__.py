"""What a review says about its product, good or bad: by words, a learned head, or a hub model."""
