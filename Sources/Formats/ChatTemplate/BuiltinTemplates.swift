/// Templates for the published prompt formats of model families, for model files that carry none.
package enum ChatTemplateName: String, CaseIterable, Sendable {
    case chatml, gemma, llama2, llama3, mistral, phi3, zephyr

    package var source: String {
        switch self {
        case .chatml: Self.chatML
        case .gemma: Self.gemmaTurns
        case .llama2: Self.llama2Instructions
        case .llama3: Self.llama3Headers
        case .mistral: Self.mistralInstructions
        case .phi3: Self.phi3Turns
        case .zephyr: Self.zephyrTurns
        }
    }

    private static let chatML = #"""
        {%- for message in messages %}
        {{- '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>\n' }}
        {%- endfor %}
        {%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
        """#

    private static let gemmaTurns = #"""
        {{- bos_token }}
        {%- set turns = namespace(system='') %}
        {%- for message in messages %}
        {%- if message.role == 'system' and loop.first %}
        {%- set turns.system = (message.content | trim) ~ '\n\n' %}
        {%- else %}
        {{- '<start_of_turn>' ~ ('model' if message.role == 'assistant' else message.role) ~ '\n' }}
        {{- (turns.system if message.role == 'user' else '') ~ (message.content | trim) ~ '<end_of_turn>\n' }}
        {%- if message.role == 'user' %}{% set turns.system = '' %}{% endif %}
        {%- endif %}
        {%- endfor %}
        {%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}
        """#

    private static let llama2Instructions = #"""
        {%- set turns = namespace(system='') %}
        {%- for message in messages %}
        {%- if message.role == 'system' and loop.first %}
        {%- set turns.system = '<<SYS>>\n' ~ message.content ~ '\n<</SYS>>\n\n' %}
        {%- elif message.role == 'user' %}
        {{- bos_token ~ '[INST] ' ~ ((turns.system ~ message.content) | trim) ~ ' [/INST]' }}
        {%- set turns.system = '' %}
        {%- elif message.role == 'assistant' %}
        {{- ' ' ~ (message.content | trim) ~ ' ' ~ eos_token }}
        {%- else %}
        {{- raise_exception('only system, user and assistant messages can be laid out') }}
        {%- endif %}
        {%- endfor %}
        """#

    private static let llama3Headers = #"""
        {{- bos_token }}
        {%- for message in messages %}
        {{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' ~ (message.content | trim) ~ '<|eot_id|>' }}
        {%- endfor %}
        {%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}
        """#

    private static let mistralInstructions = #"""
        {{- bos_token }}
        {%- set turns = namespace(system='') %}
        {%- for message in messages %}
        {%- if message.role == 'system' and loop.first %}
        {%- set turns.system = message.content ~ '\n\n' %}
        {%- elif message.role == 'user' %}
        {{- '[INST] ' ~ turns.system ~ message.content ~ ' [/INST]' }}
        {%- set turns.system = '' %}
        {%- elif message.role == 'assistant' %}
        {{- ' ' ~ (message.content | trim) ~ eos_token }}
        {%- else %}
        {{- raise_exception('only system, user and assistant messages can be laid out') }}
        {%- endif %}
        {%- endfor %}
        """#

    private static let phi3Turns = #"""
        {%- for message in messages %}
        {{- '<|' ~ message.role ~ '|>\n' ~ message.content ~ '<|end|>\n' }}
        {%- endfor %}
        {%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}
        """#

    private static let zephyrTurns = #"""
        {%- for message in messages %}
        {{- '<|' ~ message.role ~ '|>\n' ~ message.content ~ eos_token ~ '\n' }}
        {%- endfor %}
        {%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}
        """#
}
