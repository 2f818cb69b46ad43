"""What is handed over: experiments, registered models, and which of them is champion."""
