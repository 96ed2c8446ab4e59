/// Hardware files that come with the library, as a user would write them.
extension Hardware {
    static let cpu2Core1B = """
        {
          "name": "cpu-2-core-1b",
          "description": "Two cores of an AMD EPYC (Zen 4, AVX-512 BF16), 1.24 B in Q8_0, drafts of a 135 M model in \
        Q8_0",
          "machine": {
            "read_gb_per_s": {"value": 38, "source": "measured by ftk bench model: 35 to 39, in some processes \
        around 50"},
            "compute_tera_per_s": {
              "value": 0.648,
              "source": "measured by ftk bench kernels, Q8_0: 317 to 331 G multiplications and additions a second on \
        both cores"
            },
            "attention_tera_per_s": {
              "value": 0.187,
              "source": "0.70 us for each token that a row of the target attends to, fitted to 8 and 16 rows at 1024 \
        tokens"
            },
            "memory_gb": {"value": 8, "source": "chosen"}
          },
          "target": {
            "name": "Llama shape of 1.24 B, Q8_0",
            "weights_gb": {"value": 1.32, "source": "size of the file"},
            "kv_bytes_per_token": {"value": 32768, "source": "2 x 16 layers x 8 KV heads x 64 x 2 bytes"},
            "measured_passes": {
              "source": "ftk bench model, medians, two threads",
              "rows": [1, 2, 4, 8, 16, 32, 256],
              "us": [40500, 40500, 40600, 40800, 62800, 123000, 851000],
              "per_context_us": {"value": 0, "source": "the fit to 8 and 16 rows at 1024 tokens leaves nothing"},
              "per_attended_us": {
                "value": 0.7,
                "source": "8 rows at 1024 tokens of context take 4.6 ms more than at none, 16 rows 12 ms"
              }
            }
          },
          "draft": {
            "name": "SmolLM2 135M shape, Q8_0",
            "parameters_billion": {"value": 0.1345, "source": "model card and configuration of SmolLM2 135M"},
            "weights_gb": {"value": 0.143, "source": "parameters x 34/32 bytes"},
            "kv_bytes_per_token": {"value": 23040, "source": "2 x 30 layers x 3 KV heads x 64 x 2 bytes"},
            "attention_ops_per_token": {
              "value": 69120,
              "source": "4 x 30 layers x 9 heads x 64: scores and weighted sum, two operations each"
            },
            "pass_overhead_us": {"value": 200, "source": "assumed: a pass of 2 M parameters takes 50 us in all with \
        4 layers"},
            "row_overhead_us": {"value": 0, "source": "one device: nothing to exchange"}
          },
          "engine": {
            "max_running_requests": {"value": 16, "source": "the engine's default"},
            "max_step_tokens": {"value": 256, "source": "the engine's default"},
            "step_overhead_us": {"value": 50, "source": "the most that control may take in a step of 8 requests"}
          }
        }
        """

    static let cpu64Core8B = """
        {
          "name": "cpu-64-core-8b",
          "description": "One AMD EPYC 9554 (64 cores, Zen 4), Llama 3.1 8B in Q8_0, drafts of Llama 3.2 1B in Q8_0",
          "machine": {
            "read_gb_per_s": {"value": 392, "source": "12 channels of DDR5-4800 give 460.8; 85 % of it assumed"},
            "compute_tera_per_s": {
              "value": 20.7,
              "source": "64 times what one of these cores was measured to reach on two (162 G multiplications and \
        additions a second)"
            },
            "attention_tera_per_s": {"value": 6.0, "source": "64 times what one core was measured to reach on two"},
            "memory_gb": {"value": 128, "source": "chosen"}
          },
          "target": {
            "name": "Llama 3.1 8B, Q8_0",
            "parameters_billion": {"value": 8.03, "source": "model card and configuration of Llama 3.1 8B"},
            "weights_gb": {"value": 8.53, "source": "parameters x 34/32 bytes"},
            "kv_bytes_per_token": {"value": 131072, "source": "2 x 32 layers x 8 KV heads x 128 x 2 bytes"},
            "attention_ops_per_token": {
              "value": 524288,
              "source": "4 x 32 layers x 32 heads x 128: scores and weighted sum, two operations each"
            },
            "pass_overhead_us": {
              "value": 1100,
              "source": "assumed: 7 products in each of 32 layers, 5 us until 64 threads have met"
            },
            "row_overhead_us": {"value": 0, "source": "one device: nothing to exchange"}
          },
          "draft": {
            "name": "Llama 3.2 1B, Q8_0",
            "parameters_billion": {"value": 1.236, "source": "model card and configuration of Llama 3.2 1B"},
            "weights_gb": {"value": 1.31, "source": "parameters x 34/32 bytes"},
            "kv_bytes_per_token": {"value": 32768, "source": "2 x 16 layers x 8 KV heads x 64 x 2 bytes"},
            "attention_ops_per_token": {
              "value": 131072,
              "source": "4 x 16 layers x 32 heads x 64: scores and weighted sum, two operations each"
            },
            "pass_overhead_us": {
              "value": 560,
              "source": "assumed: 7 products in each of 16 layers, 5 us until 64 threads have met"
            },
            "row_overhead_us": {"value": 0, "source": "one device: nothing to exchange"}
          },
          "engine": {
            "max_running_requests": {"value": 64, "source": "chosen"},
            "max_step_tokens": {"value": 512, "source": "chosen"},
            "step_overhead_us": {"value": 200, "source": "assumed: four times that of 16 requests"}
          }
        }
        """
}
