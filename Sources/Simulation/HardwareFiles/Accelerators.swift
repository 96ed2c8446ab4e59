/// Hardware files that come with the library, as a user would write them.
extension Hardware {
    static let h100With8B = """
        {
          "name": "h100-8b",
          "description": "One NVIDIA H100 SXM, Llama 3.1 8B in BF16, drafts of Llama 3.2 1B in BF16",
          "machine": {
            "read_gb_per_s": {"value": 2850, "source": "3350 by NVIDIA's data sheet of the H100 SXM; 85 % of it \
        assumed"},
            "compute_tera_per_s": {
              "value": 594,
              "source": "989.4 dense in BF16 by NVIDIA's data sheet of the H100 SXM; 60 % of it assumed"
            },
            "attention_tera_per_s": {"value": 400, "source": "assumed: 40 % of the dense peak in BF16"},
            "memory_gb": {"value": 72, "source": "80 by NVIDIA's data sheet; 90 % for weights and KV"}
          },
          "target": {
            "name": "Llama 3.1 8B, BF16",
            "parameters_billion": {"value": 8.03, "source": "model card and configuration of Llama 3.1 8B"},
            "weights_gb": {"value": 16.06, "source": "parameters x 2 bytes"},
            "kv_bytes_per_token": {"value": 131072, "source": "2 x 32 layers x 8 KV heads x 128 x 2 bytes"},
            "attention_ops_per_token": {
              "value": 524288,
              "source": "4 x 32 layers x 32 heads x 128: scores and weighted sum, two operations each"
            },
            "pass_overhead_us": {
              "value": 480,
              "source": "assumed: 10 kernels in each of 32 layers, 1.5 us between two in a recorded graph"
            },
            "row_overhead_us": {"value": 0, "source": "one device: nothing to exchange"}
          },
          "draft": {
            "name": "Llama 3.2 1B, BF16",
            "parameters_billion": {"value": 1.236, "source": "model card and configuration of Llama 3.2 1B"},
            "weights_gb": {"value": 2.47, "source": "parameters x 2 bytes"},
            "kv_bytes_per_token": {"value": 32768, "source": "2 x 16 layers x 8 KV heads x 64 x 2 bytes"},
            "attention_ops_per_token": {
              "value": 131072,
              "source": "4 x 16 layers x 32 heads x 64: scores and weighted sum, two operations each"
            },
            "pass_overhead_us": {
              "value": 240,
              "source": "assumed: 10 kernels in each of 16 layers, 1.5 us between two in a recorded graph"
            },
            "row_overhead_us": {"value": 0, "source": "one device: nothing to exchange"}
          },
          "engine": {
            "max_running_requests": {"value": 256, "source": "chosen"},
            "max_step_tokens": {"value": 2048, "source": "chosen"},
            "step_overhead_us": {"value": 500, "source": "assumed: what the host does between two steps and cannot \
        hide"}
          }
        }
        """

    static let fourH100With70B = """
        {
          "name": "h100x4-70b",
          "description": "Four NVIDIA H100 SXM, Llama 3.1 70B in BF16, drafts of Llama 3.1 8B in BF16",
          "machine": {
            "read_gb_per_s": {"value": 11400, "source": "four times that of one H100 SXM, see h100-8b"},
            "compute_tera_per_s": {"value": 2376, "source": "four times that of one H100 SXM, see h100-8b"},
            "attention_tera_per_s": {"value": 1600, "source": "four times that of one H100 SXM, see h100-8b"},
            "memory_gb": {"value": 288, "source": "four times 90 % of 80"}
          },
          "target": {
            "name": "Llama 3.1 70B, BF16, split over four",
            "parameters_billion": {"value": 70.55, "source": "model card and configuration of Llama 3.1 70B"},
            "weights_gb": {"value": 141.1, "source": "parameters x 2 bytes"},
            "kv_bytes_per_token": {"value": 327680, "source": "2 x 80 layers x 8 KV heads x 128 x 2 bytes"},
            "attention_ops_per_token": {
              "value": 2621440,
              "source": "4 x 80 layers x 64 heads x 128: scores and weighted sum, two operations each"
            },
            "pass_overhead_us": {
              "value": 2800,
              "source": "assumed: 10 kernels in each of 80 layers, 1.5 us between two, and 160 sums over four \
        devices of 10 us"
            },
            "row_overhead_us": {
              "value": 8.7,
              "source": "160 sums of 8192 x 2 bytes, each byte 1.5 times through a link, 450 GB/s one way by \
        NVIDIA's data sheet of NVLink"
            }
          },
          "draft": {
            "name": "Llama 3.1 8B, BF16, split over four",
            "parameters_billion": {"value": 8.03, "source": "model card and configuration of Llama 3.1 8B"},
            "weights_gb": {"value": 16.06, "source": "parameters x 2 bytes"},
            "kv_bytes_per_token": {"value": 131072, "source": "2 x 32 layers x 8 KV heads x 128 x 2 bytes"},
            "attention_ops_per_token": {
              "value": 524288,
              "source": "4 x 32 layers x 32 heads x 128: scores and weighted sum, two operations each"
            },
            "pass_overhead_us": {
              "value": 1120,
              "source": "assumed: 10 kernels in each of 32 layers, 1.5 us between two, and 64 sums over four devices \
        of 10 us"
            },
            "row_overhead_us": {
              "value": 1.75,
              "source": "64 sums of 4096 x 2 bytes, each byte 1.5 times through a link, 450 GB/s one way by NVIDIA's \
        data sheet of NVLink"
            }
          },
          "engine": {
            "max_running_requests": {"value": 256, "source": "chosen"},
            "max_step_tokens": {"value": 2048, "source": "chosen"},
            "step_overhead_us": {"value": 500, "source": "assumed: what the host does between two steps and cannot \
        hide"}
          }
        }
        """
}
