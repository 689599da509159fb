"""What a preview of the engine means for a reviewer: changes, losses and money; knows no Pulumi and no terminal."""
